"""Photos of VK, found by their places: circles over an area, asked for one after another, and each photo fetched once.

The protocol is as VK's API schema has it (github.com/VKCOM/vk-api-schema, `photos.search`), version `client.VERSION`.
"""
