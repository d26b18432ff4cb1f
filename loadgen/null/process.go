package null

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Process is a responder in a process of its own. It ends when its standard input does, and so with whoever started it.
type Process struct {
	// Addr and Echo are where it listens.
	Addr, Echo string

	cmd   *exec.Cmd
	stdin io.WriteCloser
	said  *bytes.Buffer // its standard error; read after it has ended
}

// stopWithin is how long a responder may take to end.
const stopWithin = 5 * time.Second

// Start runs a command that serves, prints its Announcement and ends with its standard input. The process is in a group of its
// own: an interrupt from a terminal is the generator's, which ends the responder when it has ended itself.
func Start(ctx context.Context, command string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.Command(command, args...), said: &bytes.Buffer{}}
	p.cmd.Stderr = p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("null: %w", err)
	}
	p.stdin = stdin
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("null: %w", err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("null: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { p.cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	stop()
	if err == nil {
		p.Addr, p.Echo, err = announced(line)
	}
	if err != nil {
		p.cmd.Process.Kill()
		return nil, errors.Join(ctx.Err(), fmt.Errorf("null: the responder did not start: %w", errors.Join(err, p.Stop())))
	}
	return p, nil
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Stop ends the process and waits for that. The error is how it ended if not well.
func (p *Process) Stop() error {
	p.stdin.Close()
	kill := time.AfterFunc(stopWithin, func() { p.cmd.Process.Kill() })
	defer kill.Stop()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("null: the responder: %w: %s", err, strings.TrimSpace(p.said.String()))
	}
	return nil
}
