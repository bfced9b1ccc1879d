/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stopping.h"

#include <signal.h>

#include "util.h"

static const int stopping[] = {SIGINT, SIGTERM, SIGHUP};
static volatile sig_atomic_t stopped; /* the signal, or 0 */

static void on_signal(int number)
{
	stopped = number;
}

void stopping_catch(void)
{
	struct sigaction action = {.sa_handler = on_signal,
	                           .sa_flags = (int)SA_RESETHAND};

	for (size_t i = 0; i < ARRAY_SIZE(stopping); i++) {
		struct sigaction before;

		if (!sigaction(stopping[i], NULL, &before) &&
		    before.sa_handler != SIG_IGN)
			sigaction(stopping[i], &action, NULL);
	}
}

int stopping_signal(void)
{
	return stopped;
}
