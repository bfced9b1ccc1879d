/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Executing a command in a fork, in the child process. */
#ifndef COPPICE_RUN_PROGRAM_H
#define COPPICE_RUN_PROGRAM_H

#include <signal.h>
#include <stdbool.h>

#include "run_fork.h"
#include "run_site.h"

/* Exit statuses of env(1) and of shells. */
enum {
	RUN_STATUS_CONFLICT = 124, /* the command succeeded, the join did not */
	RUN_STATUS_TROUBLE = 125,  /* coppice run itself failed */
	RUN_STATUS_NOT_RUN = 126,  /* the command cannot be executed */
	RUN_STATUS_MISSING = 127,  /* there is no such command */
	RUN_STATUS_SIGNAL = 128,   /* plus the number of the signal */
};

struct run_program {
	const struct run_site *site;
	const struct run_fork *fork;
	char **argv; /* ends with NULL */
	unsigned index;
	bool no_input;        /* standard input is empty */
	bool errors;          /* standard output goes to standard error */
	const sigset_t *mask; /* blocked signals of the command */
};

/*
 * Mount the fork at site->at in a new mount namespace, and execute the command.
 * After an error, complain and exit with one of the statuses above.  Call it
 * with a single thread.
 */
void run_program_exec(const struct run_program *program)
        __attribute__((noreturn));

#endif
