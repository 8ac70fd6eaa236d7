"""From a model to the graph that is exported."""
