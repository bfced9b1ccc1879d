/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The request "clone": copy a subtree within the store. */
#ifndef COPPICE_CONTROL_CLONE_H
#define COPPICE_CONTROL_CLONE_H

#include "control_state.h"

/* The arguments of all three: "to", "to_path", "source", "source_path". */
int control_clone(struct control *c);
state_change_fn control_clone_change;
state_prepare_fn control_clone_prepare;

#endif
