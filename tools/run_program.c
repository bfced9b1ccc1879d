/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "run_program.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "client_mount.h"
#include "client_namespace.h"
#include "command.h"
#include "util.h"

/* Print the message, or that of err if it is NULL, and exit. */
static void fail_with(char *message, int err) __attribute__((noreturn));
static void fail_with(char *message, int err)
{
	complain("%s", message ? message : strerror(-err));
	_exit(RUN_STATUS_TROUBLE);
}

/* Bind the fork's directory in a mount of the whole store: no new mount. */
static void bind_fork(const struct run_program *p)
{
	char path[PATH_MAX], *error = NULL;
	struct stat st;
	int err;

	if (snprintf(path, sizeof(path), "%s/%s", p->site->root,
	             p->fork->name) >= PATH_MAX)
		fail_with(NULL, -ENAMETOOLONG);
	err = stat(path, &st) < 0                        ? -errno
	      : NODE_STATE(st.st_ino) != p->fork->number ? -ESTALE
	                                                 : 0;
	if (err) {
		complain("cannot open '%s': %s", path, strerror(-err));
		_exit(RUN_STATUS_TROUBLE);
	}
	err = client_namespace_bind(path, p->site->at, &error);
	if (err)
		fail_with(error, err);
}

/* Mount only the fork, with the flags of the mount that it covers. */
static void mount_fork(const struct run_program *p)
{
	unsigned long flags = p->site->flags;
	bool root = geteuid() == 0;
	char extra[64], *error = NULL;
	const struct mount_options options = {
	        .store = p->fork->store,
	        .mountpoint = p->site->at,
	        .state = p->fork->name,
	        .snapdir = SNAPDIR_DISABLED,
	        .readonly = flags & ST_RDONLY,
	        .is_private = true,
	        .store_locks = true,
	        .extra = extra,
	};
	int err;

	snprintf(extra, sizeof(extra), "%s,%s,%s",
	         root && !(flags & ST_NODEV) ? "dev" : "nodev",
	         root && !(flags & ST_NOSUID) ? "suid" : "nosuid",
	         flags & ST_NOEXEC ? "noexec" : "exec");
	err = client_mount(&options, &error);
	if (err)
		fail_with(error, err);
}

static void set_variables(const struct run_program *p)
{
	char index[16];

	snprintf(index, sizeof(index), "%u", p->index);
	if (setenv("COPPICE_RUN_FORK", p->fork->name, 1) < 0 ||
	    setenv("COPPICE_RUN_INDEX", index, 1) < 0)
		fail_with(NULL, -ENOMEM);
}

/*
 * Enter the directory.  If it is another one, set PWD, which would mislead the
 * command.
 */
static void enter_directory(const struct run_site *site)
{
	char cwd[PATH_MAX];
	bool same = getcwd(cwd, sizeof(cwd)) && !strcmp(cwd, site->dir);

	if (chdir(site->dir) < 0) {
		complain("cannot start in '%s' of the fork: %s", site->dir,
		         strerror(errno));
		_exit(RUN_STATUS_TROUBLE);
	}
	if (!same && setenv("PWD", site->dir, 1) < 0)
		fail_with(NULL, -ENOMEM);
}

static void set_streams(const struct run_program *p)
{
	if (p->no_input) {
		int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

		if (null < 0 || dup2(null, STDIN_FILENO) < 0)
			fail_with(NULL, -errno);
	}
	if (p->errors && dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		fail_with(NULL, -errno);
}

void run_program_exec(const struct run_program *p)
{
	char *error = NULL;
	int err = client_namespace_enter(p->site->at, &error);

	if (err)
		fail_with(error, err);
	if (*p->site->root)
		bind_fork(p);
	else
		mount_fork(p);
	enter_directory(p->site);
	set_variables(p);
	set_streams(p);
	sigprocmask(SIG_SETMASK, p->mask, NULL);
	execvp(p->argv[0], p->argv);
	err = errno;
	complain("cannot run '%s': %s", p->argv[0], strerror(err));
	_exit(err == ENOENT ? RUN_STATUS_MISSING : RUN_STATUS_NOT_RUN);
}
