/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Long work that a signal stops, so that it can clean up. */
#ifndef COPPICE_STOPPING_H
#define COPPICE_STOPPING_H

/*
 * Catch SIGINT, SIGTERM and SIGHUP unless they are ignored.  The first one is
 * noted, the second ends the process.
 */
void stopping_catch(void);
/* Return the signal that was caught, or 0. */
int stopping_signal(void);

#endif
