// Package builds makes the programs of a commit without touching the tree that somebody works in.
//
// A comparison needs two builds of one repository at once, and a checkout would lose what is being edited. So each commit is
// built in a git worktree of its own, by its own `make build`, because how to build is part of what a commit says. What comes
// out is kept under the commit's name and built once; the worktree is gone afterwards, whatever happened.
package builds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Repo is a git repository's working tree.
type Repo struct{ Top string }

// Open finds the repository that dir lies in, and the tools that building takes.
func Open(ctx context.Context, dir string) (*Repo, error) {
	for _, tool := range []string{"git", "make", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is not there (%w): comparing commits takes git, make and go", tool, err)
		}
	}
	out, err := command(ctx, dir, "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, fmt.Errorf("%s is in no git repository: %w", dir, err)
	}
	return &Repo{Top: strings.TrimSpace(out)}, nil
}

// Commit is a resolved revision.
type Commit struct {
	Hash    string `json:"hash"`    // in full
	Subject string `json:"subject"` // first line of its message
}

// Short is the hash as people and `make build` write it.
func (c Commit) Short() string { return c.Hash[:min(12, len(c.Hash))] }

// Resolve finds the commit that a revision names.
func (r *Repo) Resolve(ctx context.Context, rev string) (Commit, error) {
	out, err := command(ctx, r.Top, "git", "rev-parse", "--verify", "--quiet", "--end-of-options", rev+"^{commit}")
	if err != nil {
		return Commit{}, fmt.Errorf("%q names no commit of %s: want a hash, a branch, a tag, or such as HEAD~1", rev, r.Top)
	}
	hash := strings.TrimSpace(out)
	subject, err := command(ctx, r.Top, "git", "show", "-s", "--format=%s", hash)
	return Commit{Hash: hash, Subject: strings.TrimSpace(subject)}, err
}

// Dirty lists what the working tree has that no commit holds, as git status writes it.
func (r *Repo) Dirty(ctx context.Context) ([]string, error) {
	out, err := command(ctx, r.Top, "git", "status", "--porcelain")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(strings.Split(out, "\n"), func(s string) bool { return s == "" }), nil
}

// Patch is what a build has and its commit has not.
type Patch struct {
	Name string // names the build's folder beside the commit's
	Diff string // unified, from the top of the tree, as git apply takes it; "" for none
}

// Build returns the folder with the programs of a commit, built in cache unless they are there.
func (r *Repo) Build(ctx context.Context, c Commit, cache string) (bin string, err error) {
	return r.BuildWith(ctx, c, Patch{}, cache)
}

// BuildWith is Build of the commit with a patch applied, in the worktree only.
func (r *Repo) BuildWith(ctx context.Context, c Commit, p Patch, cache string) (bin string, err error) {
	cache, err = filepath.Abs(cache)
	if err != nil {
		return "", err
	}
	name := c.Short()
	if p.Diff != "" {
		name += "-" + p.Name
	}
	bin = filepath.Join(cache, name)
	if err := hasBench(bin); err == nil {
		return bin, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	lock, err := Hold(filepath.Join(cache, "lock")) // the worktree that is removed next may be another comparison's
	if err != nil {
		return "", err
	}
	defer lock.Close()
	tree := filepath.Join(cache, "tree-"+name)
	r.remove(tree) // of a comparison that was killed
	defer func() { err = errors.Join(err, r.remove(tree)) }()
	if _, err := command(ctx, r.Top, "git", "worktree", "add", "--force", "--detach", tree, c.Hash); err != nil {
		return "", fmt.Errorf("commit %s: %w", c.Short(), err)
	}
	if err := p.apply(ctx, tree); err != nil {
		return "", fmt.Errorf("commit %s (%s) does not take the patch %s: %w", c.Short(), c.Subject, p.Name, err)
	}
	if _, err := command(ctx, tree, "make", "build"); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", fmt.Errorf("commit %s (%s) does not build: %w", c.Short(), c.Subject, err)
	}
	made := filepath.Join(tree, "bin")
	if err := hasBench(made); err != nil {
		return "", fmt.Errorf("commit %s (%s) has no bench: %w; compare with a later commit", c.Short(), c.Subject, err)
	}
	return bin, errors.Join(os.RemoveAll(bin), os.Rename(made, bin))
}

// apply changes the worktree. A patch lies beside the tree while git reads it, not in it.
func (p *Patch) apply(ctx context.Context, tree string) (err error) {
	if p.Diff == "" {
		return nil
	}
	file := tree + ".patch"
	if err := os.WriteFile(file, []byte(p.Diff), 0o644); err != nil {
		return err
	}
	_, err = command(ctx, tree, "git", "apply", file)
	return errors.Join(err, os.Remove(file))
}

// Hold takes the file for this process, or says that another has it. The kernel lets go of it when the process ends, however it ends.
func Hold(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is held: a comparison is already running here (%w)", name, err), f.Close())
	}
	return f, nil
}

// hasBench checks that a folder holds bench.
func hasBench(bin string) error {
	name := filepath.Join(bin, "bench")
	st, err := os.Stat(name)
	if err != nil {
		return errors.New("`make build` makes no bin/bench")
	}
	if st.IsDir() || st.Mode()&0o111 == 0 {
		return errors.New("bin/bench is not a program")
	}
	return nil
}

// remove takes a worktree away. It does not depend on the comparison's context, which may have ended.
func (r *Repo) remove(tree string) error {
	if _, err := os.Stat(tree); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	_, err := command(ctx, r.Top, "git", "worktree", "remove", "--force", "--force", tree)
	if err == nil {
		return nil
	}
	// Something half made, which git does not know.
	err = os.RemoveAll(tree)
	_, pruned := command(ctx, r.Top, "git", "worktree", "prune")
	return errors.Join(err, pruned)
}

// command runs a program in a folder and returns what it prints; the error ends with the last lines of what it said. When ctx ends
// the program and its children are told to stop.
func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Env = dir, environment()
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGTERM) }
	c.WaitDelay = 10 * time.Second
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	err := c.Run()
	if err != nil {
		err = fmt.Errorf("%s %s: %w%s", name, strings.Join(args, " "), err, tail(said.String(), 8))
	}
	return out.String(), err
}

// environment is the caller's without what an outer make or git hook says about itself, which would be taken for options.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains([]string{"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}, name)
	})
}

// tail is the end of a text, indented, on lines of its own.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	if len(all) == 1 && all[0] == "" {
		return ""
	}
	return ":\n  " + strings.Join(all, "\n  ")
}
