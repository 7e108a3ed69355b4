"""Everything in docs/errors.md: what is done wrong, in the order of the page."""
import rows_configuration
import rows_images
import rows_machine
import rows_running

SECTIONS = [
    ("rum.toml", rows_configuration.ROWS),
    ("The command line", rows_machine.COMMAND_LINE),
    ("Images", rows_images.ROWS),
    ("This host", rows_machine.HOST),
    ("Machines", rows_machine.MACHINES),
    ("Forwards and agents", rows_running.ROWS),
]
