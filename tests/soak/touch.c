/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "touch.h"

#include "coherence.h"

enum { PAGE = 4096 };

static void touch_all(void *arg)
{
	struct touch *touch = arg;

	for (size_t i = 0; i < touch->pages; i++) {
		if (touch->write)
			touch->at[i * PAGE + i] = (uint8_t)i;
		else
			(void)touch->at[i * PAGE];
	}
}

void touch_pages(struct touch *touch)
{
	/* Somebody may truncate the file: SIGBUS is no failure. */
	without_sigbus(touch_all, touch);
}
