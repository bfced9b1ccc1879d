/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "run_jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "client_mount.h"
#include "command.h"
#include "run_program.h"
#include "util.h"

struct running {
	const struct run_jobs *jobs;
	struct run_job *all; /* jobs->count of them */
	unsigned started, active;
	int ended_by;     /* signal that prevents further starts; 0: none */
	sigset_t signals; /* blocked, and received by sigwaitinfo() */
	sigset_t former;  /* the mask before, for the commands */
};

/* ---- The end of a command ----------------------------------------------- */

static void job_join(const struct run_jobs *jobs, struct run_job *job)
{
	_cleanup_free_ char *message = NULL;

	switch (run_fork_join(&job->fork, jobs->into, jobs->policy,
	                      &job->message)) {
	case RUN_JOINED:
		job->outcome = RUN_IS_JOINED;
		/* Keep a fork with snapshots, because they were not joined. */
		if (!run_fork_remove(&job->fork, RUN_IF_PLAIN, &message))
			job->message = steal(&message);
		return;
	case RUN_CONFLICT:
		job->outcome = RUN_IN_CONFLICT;
		job->status = RUN_STATUS_CONFLICT;
		return;
	case RUN_REFUSED:
		job->outcome = RUN_IS_REFUSED;
		job->status = RUN_STATUS_CONFLICT;
		return;
	case RUN_FAILED:
		job->outcome = RUN_IS_KEPT;
		job->status = RUN_STATUS_TROUBLE;
		return;
	}
}

static void job_drop(struct run_job *job, enum run_removal how)
{
	bool gone = run_fork_remove(&job->fork, how, &job->message);

	job->outcome = gone ? RUN_IS_DROPPED : RUN_IS_KEPT;
	if (!gone && how == RUN_ANYWAY && !job->status)
		job->status = RUN_STATUS_TROUBLE;
}

/* Keep, delete or join the fork of a command that has ended. */
static void job_finish(const struct run_jobs *jobs, struct run_job *job)
{
	if (jobs->end == RUN_KEEP)
		job->outcome = RUN_IS_KEPT;
	else if (jobs->end == RUN_DROP)
		job_drop(job, RUN_ANYWAY);
	else if (jobs->end == RUN_JOIN && !job->status)
		job_join(jobs, job);
	else
		job_drop(job, RUN_IF_UNCHANGED);
}

/*
 * Return true if the command has to run again, because its fork could not be
 * joined and retries are left.  The fork is deleted then.
 */
static bool job_repeats(const struct running *r, struct run_job *job)
{
	_cleanup_free_ char *message = NULL;

	if (job->status != RUN_STATUS_CONFLICT ||
	    job->runs > r->jobs->retries || r->ended_by ||
	    !run_fork_remove(&job->fork, RUN_ANYWAY, &message))
		return false;
	/* The conflicts have been printed. */
	if (job->outcome == RUN_IN_CONFLICT)
		complain("%s; the command is run again", job->message);
	run_fork_release(&job->fork);
	free(steal(&job->message));
	job->outcome = RUN_NOT_STARTED;
	return true;
}

/* ---- Starting ----------------------------------------------------------- */

static int job_fork(const struct run_jobs *jobs, struct run_job *job)
{
	_cleanup_free_ char *name = NULL;

	if (jobs->count > 1 &&
	    asprintf(&name, "%s-%u", jobs->name, job->index) < 0) {
		name = NULL;
		complain("out of memory");
		return EXIT_FAILED;
	}
	return run_fork_make(jobs->store, jobs->source,
	                     name ? name : jobs->name, jobs->set, &job->fork);
}

static void job_exec(const struct running *r, struct run_job *job)
{
	run_program_exec(&(struct run_program){
	        .site = &r->jobs->site,
	        .fork = &job->fork,
	        .argv = r->jobs->argv,
	        .index = job->index,
	        .no_input = r->jobs->count > 1,
	        .errors = r->jobs->errors,
	        .mask = &r->former,
	});
}

/* Start the command in a child process.  Return false after an error. */
static bool job_spawn(struct running *r, struct run_job *job)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		job_exec(r, job);
	if (pid < 0) {
		complain("cannot start a process: %s", strerror(errno));
		return false;
	}
	job->pid = pid;
	r->active++;
	return true;
}

/*
 * Do the same for a store that is not mounted: return when the command is
 * executed, which closes the pipe.  The caller keeps the daemon until then.
 */
static bool job_spawn_kept(struct running *r, struct run_job *job)
{
	_cleanup_close_ int from = -1;
	int fds[2];
	bool spawned;
	char byte;

	if (pipe2(fds, O_CLOEXEC) < 0) {
		complain("cannot make a pipe: %s", strerror(errno));
		return false;
	}
	from = fds[0];
	spawned = job_spawn(r, job);
	close(fds[1]);
	while (spawned && read(from, &byte, 1) < 0 && errno == EINTR)
		;
	return spawned;
}

/* Make a fork and start the command in it. */
static void job_start(struct running *r, struct run_job *job)
{
	const struct run_jobs *jobs = r->jobs;
	_cleanup_free_ char *error = NULL;
	_cleanup_close_ int daemon = -1;

	job->runs++;
	job->status = RUN_STATUS_TROUBLE;
	if (jobs->site.is_unmounted &&
	    client_daemon_open(jobs->store, &daemon, &error) < 0)
		complain("%s", error ? error : "out of memory");
	else if (job_fork(jobs, job) == EXIT_DONE &&
	         (daemon < 0 ? job_spawn(r, job) : job_spawn_kept(r, job)))
		return;
	if (job->fork.name)
		job_finish(jobs, job);
	jobs->ended(jobs->arg, job);
}

/* Finish a job whose command has ended with job->status. */
static void job_ended(struct running *r, struct run_job *job)
{
	bool joins = r->jobs->end == RUN_JOIN && !job->status;

	job_finish(r->jobs, job);
	if (joins && job_repeats(r, job))
		job_start(r, job);
	else
		r->jobs->ended(r->jobs->arg, job);
}

/* ---- Signals ------------------------------------------------------------ */

static void signals_block(struct running *r)
{
	static const int numbers[] = {SIGCHLD, SIGHUP,  SIGINT,  SIGQUIT,
	                              SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
	                              SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU};

	/* If the parent left SIGCHLD ignored, no child would be reported. */
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&r->signals);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		sigaddset(&r->signals, numbers[i]);
	sigprocmask(SIG_BLOCK, &r->signals, &r->former);
}

static void signal_all(const struct running *r, int number)
{
	for (unsigned i = 0; i < r->started; i++) {
		if (r->all[i].pid)
			kill(r->all[i].pid, number);
	}
}

/*
 * Pass a signal on to the commands, unless the kernel or the terminal sent it:
 * then the commands have it already.
 */
static void signal_take(struct running *r, const siginfo_t *info)
{
	switch (info->si_signo) {
	case SIGCONT:
		signal_all(r, SIGCONT);
		return;
	case SIGHUP:
	case SIGINT:
	case SIGQUIT:
	case SIGTERM:
		r->ended_by = info->si_signo;
		break;
	default:
		break;
	}
	if (info->si_code != SI_KERNEL)
		signal_all(r, info->si_signo);
}

/*
 * Stop this process if all commands are stopped and it has a terminal, so that
 * the shell takes the terminal back.
 */
static void stop_with_all(const struct running *r)
{
	_cleanup_close_ int terminal = -1;
	sigset_t pending;

	for (unsigned i = 0; i < r->started; i++) {
		if (r->all[i].pid && !r->all[i].is_stopped)
			return;
	}
	terminal = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
	/* The commands may have been continued already. */
	if (terminal >= 0 && sigpending(&pending) == 0 &&
	    !sigismember(&pending, SIGCONT))
		raise(SIGSTOP);
}

static struct run_job *job_of(const struct running *r, pid_t pid)
{
	for (unsigned i = 0; i < r->started; i++) {
		if (r->all[i].pid == pid)
			return &r->all[i];
	}
	return NULL;
}

/* Handle the commands that have ended, stopped or continued. */
static void children_take(struct running *r)
{
	bool stopped = false;
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) >
	       0) {
		struct run_job *job = job_of(r, pid);

		if (!job) /* a child from before the command was executed */
			continue;
		job->is_stopped = WIFSTOPPED(status);
		stopped |= job->is_stopped;
		if (!WIFEXITED(status) && !WIFSIGNALED(status))
			continue;
		job->pid = 0;
		r->active--;
		job->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
		job->status = job->signal ? RUN_STATUS_SIGNAL + job->signal
		                          : WEXITSTATUS(status);
		job_ended(r, job);
	}
	if (stopped && r->active)
		stop_with_all(r);
}

/* ---- All of them -------------------------------------------------------- */

static void run_all(struct running *r)
{
	for (;;) {
		siginfo_t info;

		while (r->started < r->jobs->count && !r->ended_by &&
		       r->active < r->jobs->at_once)
			job_start(r, &r->all[r->started++]);
		if (!r->active)
			return;
		if (sigwaitinfo(&r->signals, &info) < 0)
			continue;
		if (info.si_signo == SIGCHLD)
			children_take(r);
		else
			signal_take(r, &info);
	}
}

int run_jobs(const struct run_jobs *jobs)
{
	struct running r = {.jobs = jobs};
	int status = 0;

	r.all = calloc(jobs->count, sizeof(*r.all));
	if (!r.all) {
		complain("out of memory");
		return RUN_STATUS_TROUBLE;
	}
	for (unsigned i = 0; i < jobs->count; i++)
		r.all[i].index = i;
	signals_block(&r);
	run_all(&r);
	sigprocmask(SIG_SETMASK, &r.former, NULL);
	for (unsigned i = r.started; i < jobs->count; i++) {
		r.all[i].status = RUN_STATUS_SIGNAL + r.ended_by;
		jobs->ended(jobs->arg, &r.all[i]);
	}
	for (unsigned i = jobs->count; i-- > 0;) {
		status = r.all[i].status ? r.all[i].status : status;
		run_fork_release(&r.all[i].fork);
		free(r.all[i].message);
	}
	free(r.all);
	return status;
}
