/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The parent's side of the harness: gives every registered case to googletest
 * and runs each in a child of its own.
 *
 * Kills: only ever the process group that the case's child leads.  The group's
 * number cannot be reused by others meanwhile, because its leader is waited
 * for last; and this process is the subreaper of the case's descendants, so it
 * knows when the last of them is gone.
 *
 * Options, besides those of googletest:
 *	--dirs=unit,multi   only cases from these directories of tests/
 *	--layers=FILE       the order of the suites (libshm/LAYERS)
 *	--results=FILE      append one line per case: passed|failed|skipped
 *	                    NAME REASON
 *	--allow-none        it is no failure if no case matches
 */
#include "report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef SHMC_SANITIZED
static const unsigned timeout_factor = 3;
/* The first report ends the process: children have no other way to tell. */
extern "C" const char *__asan_default_options();
extern "C" const char *__tsan_default_options();
extern "C" const char *__ubsan_default_options();
const char *__asan_default_options() { return "detect_stack_use_after_return=1"; }
const char *__tsan_default_options() { return "halt_on_error=1"; }
const char *__ubsan_default_options() { return "print_stacktrace=1"; }
#else
static const unsigned timeout_factor = 1;
#endif

namespace {

using Clock = std::chrono::steady_clock;

/* The group of the running case, for the handler of SIGINT and SIGTERM. */
volatile sig_atomic_t running_group;

std::string
errno_text(const char *what)
{
	return std::string(what) + ": " + strerror(errno);
}

class Descriptor {
public:
	explicit Descriptor(int fd) : fd_(fd) {}
	~Descriptor() { reset(); }
	Descriptor(const Descriptor &) = delete;
	Descriptor &operator=(const Descriptor &) = delete;
	int get() const { return fd_; }
	void reset()
	{
		if (fd_ >= 0)
			close(fd_);
		fd_ = -1;
	}

private:
	int fd_;
};

/* ---------------------------------------------------------- processes --- */

/* "name (state S, in futex_wait_queue)", for cases that hang. */
std::string
describe_process(const std::string &pid, const std::string &stat)
{
	std::string wchan;
	std::ifstream("/proc/" + pid + "/wchan") >> wchan;
	char state = stat[stat.rfind(')') + 2];
	return "\n  process " + pid + ": state " + state +
	    (wchan.size() > 1 ? ", in " + wchan : "");
}

/* A line for every process of the group. */
std::string
describe_group(pid_t group)
{
	std::string all;
	DIR *proc = opendir("/proc");
	while (struct dirent *entry = proc ? readdir(proc) : nullptr) {
		std::string pid = entry->d_name, stat;
		if (!isdigit(pid[0]))
			continue;
		std::getline(std::ifstream("/proc/" + pid + "/stat"), stat);
		int pgrp = 0;
		size_t after = stat.rfind(')');
		if (after != std::string::npos &&
		    sscanf(stat.c_str() + after, ") %*c %*d %d", &pgrp) == 1 &&
		    pgrp == group)
			all += describe_process(pid, stat);
	}
	if (proc)
		closedir(proc);
	return all;
}

/*
 * Ends all of the group; false if a descendant has left it and lives on, and
 * was not told before.
 */
bool
end_group(pid_t group)
{
	static bool stray_told;

	kill(-group, SIGKILL);
	while (waitpid(-group, nullptr, 0) > 0 || errno == EINTR)
		;
	pid_t other;
	while ((other = waitpid(-1, nullptr, WNOHANG)) > 0)
		;
	bool told = stray_told;
	stray_told = other == 0;
	return told || !stray_told;
}

void
on_interrupt(int signal)
{
	if (running_group != 0)
		kill(-running_group, SIGKILL);
	struct sigaction action = {};
	action.sa_handler = SIG_DFL;
	sigaction(signal, &action, nullptr);
	raise(signal);
}

/* -------------------------------------------------------------- a case --- */

class Case : public testing::Test {
public:
	explicit Case(const test_case *test) : test_(test) {}
	void TestBody() override;

private:
	void run_forked();
	void run_inline();
	[[noreturn]] void be_child(int report_fd);
	bool collect(Descriptor &reports, int child_ended);
	bool read_reports(int fd);
	void take(const report &r);
	void judge(const siginfo_t &end, bool timed_out);
	void fail(const std::string &text)
	{
		ADD_FAILURE_AT(test_->file, test_->line) << text;
	}

	const test_case *test_;
	std::string buffer_;
	std::string skipped_;
	bool is_skipped_ = false;
	bool ended_ = false;
	bool failed_ = false;
};

void
Case::take(const report &r)
{
	size_t bytes = r.bytes - offsetof(report, text);
	std::string file(r.text, r.file_bytes);
	std::string text(r.text + r.file_bytes, bytes - r.file_bytes);

	switch (r.kind) {
	case REPORT_FAILURE:
		failed_ = true;
		ADD_FAILURE_AT(file.c_str(), static_cast<int>(r.line)) << text;
		break;
	case REPORT_SKIP:
		is_skipped_ = true;
		skipped_ = text;
		break;
	case REPORT_END:
		ended_ = true;
		break;
	}
}

/* Takes what is there; false at the end of the pipe. */
bool
Case::read_reports(int fd)
{
	char bytes[16 * PIPE_BUF];
	ssize_t n = read(fd, bytes, sizeof bytes);
	if (n <= 0)
		return n < 0 && (errno == EINTR || errno == EAGAIN);
	buffer_.append(bytes, static_cast<size_t>(n));

	report r;
	while (buffer_.size() >= offsetof(report, text)) {
		memcpy(&r.bytes, buffer_.data(), sizeof r.bytes);
		if (buffer_.size() < r.bytes)
			break;
		memcpy(&r, buffer_.data(), r.bytes);
		buffer_.erase(0, r.bytes);
		take(r);
	}
	return true;
}

/* Takes reports until the child has ended; false if its time ran out. */
bool
Case::collect(Descriptor &reports, int child_ended)
{
	auto deadline = Clock::now() +
	    std::chrono::seconds(test_->timeout_s * timeout_factor);
	for (;;) {
		auto left = std::chrono::duration_cast<
		    std::chrono::milliseconds>(deadline - Clock::now());
		if (left.count() <= 0)
			return false;
		struct pollfd wait[] = {
			{ child_ended, POLLIN, 0 },
			{ reports.get(), POLLIN, 0 },
		};
		poll(wait, 2, static_cast<int>(left.count()));
		if (wait[1].revents != 0 && !read_reports(reports.get()))
			reports.reset();
		if (wait[0].revents != 0)
			return true;
	}
}

void
Case::judge(const siginfo_t &end, bool timed_out)
{
	if (timed_out)
		return;
	if (end.si_code != CLD_EXITED)
		fail(std::string("killed by signal ") +
		    std::to_string(end.si_status) + " (" +
		    strsignal(end.si_status) + ")");
	else if (end.si_status != 0)
		fail("ended with exit status " + std::to_string(end.si_status));
	else if (!ended_)
		fail("the process ended before the test did");
}

void
Case::be_child(int report_fd)
{
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	close(null);
	test_run(test_, report_fd);
	test_flush();
	_exit(0);
}

void
Case::run_forked()
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
		return fail(errno_text("pipe"));
	Descriptor reports(ends[0]);
	/* Out of the way of tests that look at descriptor numbers. */
	Descriptor write_end(fcntl(ends[1], F_DUPFD_CLOEXEC, 200));
	close(ends[1]);
	/* Shared by the duplicates: the writers' end blocks. */
	fcntl(write_end.get(), F_SETFL, 0);

	fflush(nullptr);
	pid_t child = fork();
	if (child < 0)
		return fail(errno_text("fork"));
	if (child == 0) {
		reports.reset();
		be_child(write_end.get());
	}
	setpgid(child, child);
	running_group = child;
	write_end.reset();
	Descriptor child_ended(
	    static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
	if (child_ended.get() < 0)
		fail(errno_text("pidfd_open"));

	bool timed_out = child_ended.get() >= 0 &&
	    !collect(reports, child_ended.get());
	if (timed_out)
		fail("not done after " +
		    std::to_string(test_->timeout_s * timeout_factor) + " s:" +
		    describe_group(child));
	siginfo_t end = {};
	if (!timed_out)
		waitid(P_PID, static_cast<id_t>(child), &end, WEXITED | WNOWAIT);
	bool all_ended = end_group(child);
	running_group = 0;
	if (!all_ended)
		fail("left a process behind, in another process group");

	/* What was written last; an escaped process may hold the pipe open. */
	while (reports.get() >= 0) {
		struct pollfd wait = { reports.get(), POLLIN, 0 };
		if (poll(&wait, 1, 0) <= 0 || !read_reports(reports.get()))
			reports.reset();
	}
	judge(end, timed_out);
}

void
Case::run_inline()
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
		return fail(errno_text("pipe"));
	Descriptor reports(ends[0]), write_end(ends[1]);
	fcntl(write_end.get(), F_SETPIPE_SZ, 1 << 18);
	test_run(test_, write_end.get());
	write_end.reset();
	while (read_reports(reports.get()))
		;
}

void
Case::TestBody()
{
	if (getenv("SHMC_TEST_INLINE") != nullptr)
		run_inline();
	else
		run_forked();
	if (is_skipped_ && !HasFailure())
		GTEST_SKIP() << skipped_;
}

/* --------------------------------------------------------------- order --- */

using Order = std::map<std::string, size_t>;

/* The place of every file stem of a LAYERS file. */
Order
read_layers(const std::string &path)
{
	Order order;
	std::ifstream file(path);
	std::string line, word;
	while (std::getline(file, line)) {
		std::istringstream words(line.substr(0, line.find('#')));
		words >> word; /* the layer's name */
		while (words >> word)
			order.emplace(word, order.size());
	}
	if (order.empty())
		fprintf(stderr, "harness: no layers in %s\n", path.c_str());
	return order;
}

struct Entry {
	const test_case *test;
	std::string suite, name;
	size_t place; /* of the module in the layers */
};

Entry
make_entry(const test_case *test, const Order &order)
{
	std::string whole = test->name;
	size_t cut = whole.find("__");
	std::string suite = whole.substr(0, cut);
	std::string name = cut == std::string::npos ? "holds"
						    : whole.substr(cut + 2);
	auto found = order.find(suite);
	if (found == order.end() && suite.rfind('_') != std::string::npos)
		found = order.find(suite.substr(0, suite.rfind('_')));
	size_t place = found == order.end() ? order.size() : found->second;
	return { test, suite, name, place };
}

bool
before(const Entry &a, const Entry &b)
{
	if (a.place != b.place)
		return a.place < b.place;
	if (a.suite != b.suite)
		return a.suite < b.suite;
	if (int files = strcmp(a.test->file, b.test->file); files != 0)
		return files < 0;
	return a.test->line < b.test->line;
}

/* True if the file stands in a directory named in the comma list. */
bool
in_directories(const std::string &file, const std::string &list)
{
	std::istringstream names(list);
	std::string name;
	while (std::getline(names, name, ','))
		if (file.find("/" + name + "/") != std::string::npos)
			return true;
	return list.empty();
}

void
register_all(const std::string &layers, const std::string &dirs)
{
	Order order = read_layers(layers);
	std::vector<Entry> entries;
	for (const test_case *t = test_list(); t != nullptr; t = t->next)
		if (in_directories(t->file, dirs))
			entries.push_back(make_entry(t, order));
	std::sort(entries.begin(), entries.end(), before);
	for (const Entry &e : entries) {
		const test_case *test = e.test;
		testing::RegisterTest(e.suite.c_str(), e.name.c_str(), nullptr,
		    nullptr, test->file, test->line,
		    [test]() -> Case * { return new Case(test); });
	}
}

/* ------------------------------------------------------------- results --- */

std::string
one_line(std::string text)
{
	std::replace(text.begin(), text.end(), '\n', ' ');
	return text;
}

/* Writes a line per case, and the skips with their reasons at the end. */
class Results : public testing::EmptyTestEventListener {
public:
	explicit Results(const std::string &path)
	{
		if (!path.empty())
			file_.open(path, std::ios::app);
	}

	void OnTestEnd(const testing::TestInfo &info) override
	{
		const testing::TestResult &result = *info.result();
		std::string name = std::string(info.test_suite_name()) + "." +
		    info.name();
		const char *word = result.Failed() ? "failed" :
		    result.Skipped()		   ? "skipped" :
						     "passed";
		std::string reason;
		if (result.Skipped())
			for (int i = 0; i < result.total_part_count(); i++)
				reason += one_line(
				    result.GetTestPartResult(i).message());
		file_ << word << " " << name << " " << reason << std::endl;
		if (result.Skipped())
			skips_.push_back(name + ": " + reason);
	}

	void OnTestProgramEnd(const testing::UnitTest &) override
	{
		for (const std::string &skip : skips_)
			printf("skipped %s\n", skip.c_str());
	}

private:
	std::ofstream file_;
	std::vector<std::string> skips_;
};

/* The value of --name=value if arg is that, or *value as it was. */
bool
option(const char *arg, const char *name, std::string *value)
{
	size_t length = strlen(name);
	if (strncmp(arg, name, length) != 0 || arg[length] != '=')
		return false;
	*value = arg + length + 1;
	return true;
}

void
prepare_signals()
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	struct sigaction action = {};
	action.sa_handler = on_interrupt;
	for (int signal : { SIGINT, SIGTERM, SIGHUP })
		sigaction(signal, &action, nullptr);
}

} // namespace

int
main(int argc, char **argv)
{
	std::string layers = HARNESS_LAYERS, dirs, results;
	bool allow_none = false;

	testing::InitGoogleTest(&argc, argv);
	for (int i = 1; i < argc; i++) {
		if (option(argv[i], "--layers", &layers) ||
		    option(argv[i], "--dirs", &dirs) ||
		    option(argv[i], "--results", &results))
			continue;
		if (strcmp(argv[i], "--allow-none") == 0) {
			allow_none = true;
			continue;
		}
		fprintf(stderr, "%s: unknown option %s\n", argv[0], argv[i]);
		return 2;
	}
	prepare_signals();
	register_all(layers, dirs);
	testing::UnitTest &unit_test = *testing::UnitTest::GetInstance();
	unit_test.listeners().Append(new Results(results));
	int failed = RUN_ALL_TESTS();
	if (unit_test.test_to_run_count() == 0 && !allow_none &&
	    !testing::GTEST_FLAG(list_tests)) {
		fprintf(stderr, "harness: no test matches\n");
		return 1;
	}
	return failed;
}
