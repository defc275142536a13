"""The experiments of Zeng et al. (ICCV 2021) repeated, the paper's figures beside ours."""
