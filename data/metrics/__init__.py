"""How far apart pictures are: `paired`, sets of them (`swd`), and grids in them (`spectrum`)."""
