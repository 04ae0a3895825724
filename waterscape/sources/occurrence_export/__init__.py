"""Water occurrence of a country or an area out of Earth Engine: parts, sheets of tiles true to scale, their files."""
