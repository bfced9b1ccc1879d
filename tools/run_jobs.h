/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The commands of coppice run, each in its own fork, several at a time. */
#ifndef COPPICE_RUN_JOBS_H
#define COPPICE_RUN_JOBS_H

#include <sys/types.h>

#include "run_fork.h"
#include "run_site.h"

/* How to treat a fork when its command has ended. */
enum run_end {
	RUN_KEEP_CHANGED, /* keep it if the command has changed it */
	RUN_JOIN,         /* join it if the command succeeded */
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
	unsigned runs; /* number of started runs */
	int status;    /* exit status, as of a shell */
	int signal;    /* the signal that ended the command; 0: none */
	enum run_outcome outcome;
	char *message; /* why the fork was not joined or deleted, or NULL */
};

struct run_jobs {
	const char *store;
	const char *source; /* the state that is forked */
	const char *into;   /* with RUN_JOIN */
	const char *name;   /* of the fork; if count > 1, -INDEX is added */
	const struct option_list *set; /* their properties */
	enum run_end end;
	enum run_policy policy;
	unsigned count;
	unsigned retries; /* most further runs of a command whose fork could
	                     not be joined */
	unsigned at_once; /* most commands that run at a time */
	bool errors;      /* see struct run_program */
	char **argv;
	struct run_site site;
	/* Called when a job has ended.  fork.name NULL: no fork was made. */
	void (*ended)(void *arg, const struct run_job *job);
	void *arg;
};

/*
 * Run all commands.  Return the exit status of the failed one with the lowest
 * index, or 0.
 *
 * The commands stay in this process's group, so that the terminal's signals
 * reach them directly.  Other signals are passed on.  When all commands are
 * stopped, this process stops, too.
 */
int run_jobs(const struct run_jobs *jobs);

#endif
