/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is told of a state, as show prints it and as JSON has it.
 */
#ifndef COPPICE_STATE_ROW_H
#define COPPICE_STATE_ROW_H

#include "row.h"

extern const struct field state_fields[];

#endif
