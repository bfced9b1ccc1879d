/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the threads of this process stand, for the log. */
#ifndef COPPICE_WHEREABOUTS_H
#define COPPICE_WHEREABOUTS_H

/*
 * Log a line for each thread: its id and name, what it waits for in the kernel,
 * and the addresses of this program that lie on its stack, newest first, as
 * offsets for addr2line(1).  Some of them may be left over from earlier calls.
 */
void whereabouts_log(void);

#endif
