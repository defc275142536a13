"""What several attacks share: pictures, artefacts, arithmetic. numpy and scipy only."""
