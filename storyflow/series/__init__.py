"""Series: films that share people, places, looks, a pipeline, a budget and a night."""
