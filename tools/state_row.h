/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The fields of a state, as `show` and the JSON of `list` print them.
 */
#ifndef COPPICE_STATE_ROW_H
#define COPPICE_STATE_ROW_H

#include "row.h"

extern const struct field state_fields[];

#endif
