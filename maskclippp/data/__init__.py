"""Files to records and vocabularies: class lists, datasets, annotations and the mappers that make samples of them."""
