/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Running other programs. */
#ifndef COPPICE_PROGRAM_H
#define COPPICE_PROGRAM_H

#include <stddef.h>

/*
 * Run the program, found in PATH, to its end, without input and output.  The
 * first line that it writes to standard error goes to `message`, cut to `size`
 * bytes; "" if there is none.  Return its exit status, 128 if a signal ended
 * it, or a negative errno if it could not be run.
 */
int program_run(const char *const argv[], char *message, size_t size);

#endif
