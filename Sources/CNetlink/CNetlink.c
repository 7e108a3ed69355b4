#include "CNetlink.h"

// libmnl is a library of its own; a target needs a source file.
