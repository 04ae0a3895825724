"""A local page on which a person plays with what was trained: sliders, drawn water, a map, photos to be judged."""
