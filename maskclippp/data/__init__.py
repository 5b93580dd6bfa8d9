"""Files to records and vocabularies: class lists, datasets, annotations and the mappers that make samples of them."""

from maskclippp.utils.requirements import require_detectron2

require_detectron2()
