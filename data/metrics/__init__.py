"""How far apart pictures are: measures of pairs (`paired`), of sets (`swd`), of grids (`spectrum`)."""
