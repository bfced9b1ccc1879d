/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The request "swap": two states exchange their names. */
#ifndef COPPICE_CONTROL_SWAP_H
#define COPPICE_CONTROL_SWAP_H

#include "control_state.h"

int control_swap(struct control *c); /* "name", "with" */
state_change_fn control_swap_change;

#endif
