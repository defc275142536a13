"""What the report needs for a person to decide: every removed image, and what speaks for it."""
