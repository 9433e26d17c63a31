"""Trainings on pairs of pictures of one thing (pix2pix, Isola et al. 2017)."""
