"""`waterscape report RUN [RUN …]`: runs as one HTML file that needs nothing else: no server, no network, no data."""
