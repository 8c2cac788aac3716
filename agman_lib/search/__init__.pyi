from .gallery import Gallery as Gallery
