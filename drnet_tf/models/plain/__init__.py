"""MobileNetV2, a network without routing: architecture, network, cost, objective and recipes."""
