// Package proc runs the programs that are measured and reads what the kernel counts about them.
//
// A benchmark that leaves processes or gigabytes behind when it is interrupted is run once. And a child started carelessly
// is measured wrongly: a launch must be a fresh process whose readiness is known from its own words, not from a pause.
// So a Process is started with the line that it must print, dies with its parent whatever happens, and its end is noticed
// when it happens.
package proc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Spec says what to start.
type Spec struct {
	Name  string   // for messages: "broker"
	Path  string   // of the executable
	Args  []string // without the name
	Env   []string // added to the parent's environment
	Log   string   // file that gets both of its outputs, truncated
	Ready string   // beginning of the line on stdout that says it is ready
	// Enter starts it somewhere else, by calling start there and on the same thread; nil: here.
	Enter func(start func() error) error
}

// Process is a running child.
type Process struct {
	spec  Spec
	cmd   *exec.Cmd
	line  string
	done  chan struct{} // closed when the process has ended and its output is written
	err   error         // how it ended; set before done is closed
	start time.Time
	ready time.Time // set before Start returns
}

// forks is served by one goroutine on one thread that never ends: the kernel kills a child with Pdeathsig when the
// *thread* that started it ends, and the threads of locked goroutines do.
var forks = sync.OnceValue(func() chan<- func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
})

// Start starts the program and returns when it has printed its ready line. When it ends before, or ctx does, the error
// holds the last of what it said.
func Start(ctx context.Context, s Spec) (*Process, error) {
	log, err := os.Create(s.Log)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	p := &Process{spec: s, cmd: exec.Command(s.Path, s.Args...), done: make(chan struct{}), start: time.Now()}
	p.cmd.Env = append(os.Environ(), s.Env...)
	p.cmd.Stderr = log
	// Its own process group: ^C on the terminal reaches only the parent, which then stops its children in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		started := make(chan error)
		forks() <- func() { started <- s.enter(p.cmd.Start) }
		err = <-started
	}
	if err != nil {
		log.Close()
		return nil, fmt.Errorf("%s: %w (is it built? make build)", s.Name, err)
	}
	ready := make(chan readyLine, 1)
	go p.reap(out, log, ready)
	select {
	case said := <-ready:
		p.line, p.ready = said.line, said.at
		return p, nil
	case <-p.done:
		return nil, fmt.Errorf("%s ended before it was ready: %v\n%s", s.Name, p.err, p.Tail(5))
	case <-ctx.Done():
		p.Kill()
		return nil, fmt.Errorf("%s was not ready: %w\n%s", s.Name, context.Cause(ctx), p.Tail(5))
	}
}

func (s *Spec) enter(start func() error) error {
	if s.Enter == nil {
		return start()
	}
	return s.Enter(start)
}

type readyLine struct {
	line string
	at   time.Time
}

// reap copies the child's stdout to the log, looks for the ready line, and waits for the child.
func (p *Process) reap(out io.Reader, log *os.File, ready chan<- readyLine) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	found := false
	for lines.Scan() {
		fmt.Fprintln(log, lines.Text())
		if !found && strings.HasPrefix(lines.Text(), p.spec.Ready) {
			found = true
			ready <- readyLine{lines.Text(), time.Now()}
		}
	}
	p.err = errors.Join(p.cmd.Wait(), lines.Err(), log.Close())
	close(p.done)
}

// PID is the child's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Line is the line that said it was ready.
func (p *Process) Line() string { return p.line }

// Began is when the child was started.
func (p *Process) Began() time.Time { return p.start }

// ReadyAt is when the ready line was read.
func (p *Process) ReadyAt() time.Time { return p.ready }

// Ended is closed when the child has ended.
func (p *Process) Ended() <-chan struct{} { return p.done }

// Err says how the child ended, with its last words; nil while it runs, and of nil, which is a process that somebody else started.
func (p *Process) Err() error {
	if p == nil {
		return nil
	}
	select {
	case <-p.done:
		return fmt.Errorf("%s ended by itself: %v\n%s", p.spec.Name, p.err, p.Tail(5))
	default:
		return nil
	}
}

// Stop asks the child to end and kills it when it has not within the time-out. An unclean end is an error.
func (p *Process) Stop(timeout time.Duration) error {
	if p == nil {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended already, which done tells
	select {
	case <-p.done:
	case <-time.After(timeout):
		p.Kill()
		return fmt.Errorf("%s did not stop within %v and was killed\n%s", p.spec.Name, timeout, p.Tail(5))
	}
	if p.err != nil {
		return fmt.Errorf("%s stopped with %v\n%s", p.spec.Name, p.err, p.Tail(5))
	}
	return nil
}

// Pause is SIGSTOP: the child does nothing until Resume, and cannot be asked to end.
func (p *Process) Pause() error { return p.signal(syscall.SIGSTOP) }

// Resume is SIGCONT.
func (p *Process) Resume() error { return p.signal(syscall.SIGCONT) }

func (p *Process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("%s: %v: %w", p.spec.Name, s, err)
	}
	return nil
}

// Kill is kill -9. It returns when the kernel has taken the process down.
func (p *Process) Kill() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill() // as above
	<-p.done
}

// Tail returns the last n lines of what the child said.
func (p *Process) Tail(n int) string {
	text, err := os.ReadFile(p.spec.Log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	for i, l := range lines {
		lines[i] = "  " + filepath.Base(p.spec.Log) + ": " + l
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Fields parses "key=value" words of a ready line.
func Fields(line string) map[string]string {
	out := map[string]string{}
	for word := range strings.FieldsSeq(line) {
		if k, v, ok := strings.Cut(word, "="); ok {
			out[k] = v
		}
	}
	return out
}
