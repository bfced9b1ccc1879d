/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pages of a map that others may truncate. */
#ifndef COPPICE_COHERENCE_TOUCH_H
#define COPPICE_COHERENCE_TOUCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct touch {
	volatile uint8_t *at;
	size_t pages;
	bool write;
};

/* Read or write a byte of each page, as far as they are there. */
void touch_pages(struct touch *touch);

#endif
