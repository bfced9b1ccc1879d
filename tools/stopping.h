/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stopping long work by a signal, so that it can clean up. */
#ifndef COPPICE_STOPPING_H
#define COPPICE_STOPPING_H

/*
 * Catch SIGINT, SIGTERM and SIGHUP unless they are ignored.  The first of each
 * is noted, a second one ends the process.
 */
void stopping_catch(void);
/* Return the last signal that was caught, or 0. */
int stopping_signal(void);

#endif
