/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests that nobody waits for any more, because the process that made them
 * has been killed.
 */
#ifndef COPPICE_CANCEL_H
#define COPPICE_CANCEL_H

#include <stdbool.h>

/*
 * Return true if the request that the calling worker handles may be given up.
 * A signal that does not kill is no reason: the process may not expect EINTR
 * from a file.  Costs nothing until the kernel has sent an interrupt.
 */
bool request_cancelled(void);

#endif
