/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A fuzz target is one function, fed by libFuzzer, or from its corpus by
 * fuzz-main.c in the ordinary tests.  What it finds wrong, it aborts on.
 */
#ifndef COPPICE_FUZZ_H
#define COPPICE_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Unlike assert(), in every build. */
#define fuzz_assert(condition)                                                 \
	do {                                                                   \
		if (!(condition)) {                                            \
			dprintf(2, "%s:%d: not so: %s\n", __FILE__, __LINE__,  \
			        #condition);                                   \
			abort();                                               \
		}                                                              \
	} while (0)

/* Damage is logged line by line: not here. */
void fuzz_quiet(void);

#endif
