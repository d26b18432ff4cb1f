package view

import (
	"os"
	"strings"
	"sync"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"ackline/loadgen/result"
)

// framesPerSecond bounds how often the terminal is drawn.
const framesPerSecond = 4

// View is a live view on a terminal. Its methods may be called from any goroutine and do not wait for the terminal.
type View struct {
	program  *tea.Program
	messages chan tea.Msg
	wg       sync.WaitGroup
	stopped  sync.Once
}

// pending is how many messages may wait to be drawn: a terminal that takes none for so many seconds misses some.
const pending = 64

// Start begins to show m on out. Stop ends it.
func Start(out *os.File, m Model) *View {
	// No input: no raw mode, and no signal handler, so that ^C is the program's as before.
	v := &View{messages: make(chan tea.Msg, pending),
		program: tea.NewProgram(&screen{model: m}, tea.WithInput(nil), tea.WithOutput(out), tea.WithoutSignalHandler(), tea.WithFPS(framesPerSecond))}
	v.wg.Go(func() {
		_, _ = v.program.Run() // a terminal that cannot be drawn on is no reason to end a measurement
	})
	v.wg.Go(func() {
		for msg := range v.messages {
			v.program.Send(msg)
		}
		v.program.Quit()
	})
	return v
}

// Second shows a second.
func (v *View) Second(s result.Second) { v.send(s) }

// Checking shows how much was read back.
func (v *View) Checking(read, acked int64) { v.send(progress{read, acked}) }

// Stop draws a last time, gives the terminal back and returns when that is done. Nothing may be shown afterwards.
func (v *View) Stop() {
	v.stopped.Do(func() { close(v.messages) })
	v.wg.Wait()
}

func (v *View) send(msg tea.Msg) {
	select {
	case v.messages <- msg:
	default:
	}
}

type progress struct{ read, acked int64 }

// screen is the model as bubbletea wants it.
type screen struct {
	model Model
	width int
}

// Init has nothing to begin with.
func (s *screen) Init() tea.Cmd { return nil }

// Update takes what View sends.
func (s *screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case result.Second:
		s.model.add(msg)
	case progress:
		s.model.Checking, s.model.Read, s.model.Acked = true, msg.read, msg.acked
	case tea.WindowSizeMsg:
		s.width = msg.Width
	}
	return s, nil
}

// View draws. The cursor is never left hidden, because who kills the program would be left without one; it stands behind the last line,
// where the terminal writes its ^C.
func (s *screen) View() tea.View {
	text := s.model.Render(s.width)
	v := tea.NewView(text)
	v.DisableBracketedPasteMode = true
	v.Cursor = tea.NewCursor(utf8.RuneCountInString(text[strings.LastIndexByte(text, '\n')+1:]), strings.Count(text, "\n"))
	return v
}
