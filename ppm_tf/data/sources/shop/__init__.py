"""The embedded shop: a simulated world of items, users, texts, images and clicks."""
