"""DRNet: architecture, network, cost, objective and recipes (Cai et al., WACV 2021)."""
