/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The commands of coppice run, each in its fork, several of them at a time. */
#ifndef COPPICE_RUN_JOBS_H
#define COPPICE_RUN_JOBS_H

#include <sys/types.h>

#include "run_fork.h"
#include "run_site.h"

/* The treatment of a fork when its command has ended. */
enum run_end {
	RUN_KEEP_CHANGED, /* it is kept if the command has changed it */
	RUN_JOIN,         /* it is joined if the command succeeded */
	RUN_KEEP,
	RUN_DROP,
};

enum run_outcome {
	RUN_NOT_STARTED,
	RUN_IS_JOINED,
	RUN_IS_KEPT,
	RUN_IS_DROPPED,
	RUN_IS_REFUSED,  /* kept, because it was not the first */
	RUN_IN_CONFLICT, /* kept, because its join was not possible */
};

struct run_job {
	unsigned index;
	struct run_fork fork;
	pid_t pid; /* 0: not running */
	bool is_stopped;
	unsigned runs; /* that were started */
	int status;    /* exit status, as a shell has it */
	int signal;    /* that ended the command; 0: none */
	enum run_outcome outcome;
	char *message; /* why it was not joined or deleted; NULL: nothing */
};

struct run_jobs {
	const char *store;
	const char *source; /* the state that is forked */
	const char *into;   /* with RUN_JOIN */
	const char *name;   /* of the forks; with several, -INDEX follows */
	const struct option_list *set; /* their properties */
	enum run_end end;
	enum run_policy policy;
	unsigned count;
	unsigned retries; /* the most further runs of a command whose fork could
	                     not be joined */
	unsigned at_once; /* the most that run at a time */
	bool errors;      /* see struct run_program */
	char **argv;
	struct run_site site;
	/* Called when a job has ended; fork.name is NULL if there was none. */
	void (*ended)(void *arg, const struct run_job *job);
	void *arg;
};

/*
 * Run all of them.  Return the exit status of the one with the lowest index
 * that did not succeed, or 0.
 *
 * The commands stay in this process's group, so that the terminal's signals
 * reach them directly.  Other signals are passed on.  When all commands are
 * stopped, this process stops, too.
 */
int run_jobs(const struct run_jobs *jobs);

#endif
