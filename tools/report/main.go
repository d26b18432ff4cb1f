// Command report renders RESULTS.md from the record of a bench run, and checks that a RESULTS.md says what its own raw
// data says. A results file that is edited by hand is worth nothing as evidence; one that renders again byte for byte
// from raw data can be believed as far as that data.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"ackline/tools/bench/record"
	"ackline/tools/report/html"
	"ackline/tools/report/render"
	"ackline/tools/version"
)

type flags struct {
	Input    string           `arg:"" help:"results.json, the folder that holds it, or a RESULTS.md." placeholder:"INPUT"`
	Output   string           `short:"o" help:"Write the page to this file; without it to standard output." placeholder:"FILE"`
	Check    bool             `help:"Render INPUT, a RESULTS.md, from its own raw data and compare byte for byte." xor:"what"`
	Headline bool             `help:"Print the ten lines that a bench run ends with." xor:"what"`
	JSON     bool             `name:"json" help:"Print the raw data as JSON." xor:"what"`
	HTML     bool             `name:"html" help:"Render one file for a browser, with plots and the trend over RESULTS.md's history in git." xor:"what"`
	Previous string           `help:"The RESULTS.md to compare with, or none. Default: the file that -o replaces; a page of the same commit hands its own comparison on." placeholder:"FILE"`
	Version  kong.VersionFlag `help:"Print the version and leave."`
}

const description = `Renders RESULTS.md from what bin/bench recorded.

  report out/latest -o RESULTS.md     render, comparing with the RESULTS.md that is replaced
  report --check RESULTS.md           exit 1 and show the first line that is not what the raw data gives
  report --headline out/latest        the ending of a bench run
  report --html out/latest -o out/report.html   the same with plots, for a browser; needs nothing but that file
  report --json RESULTS.md            the raw data, for other tools
  report RESULTS.md -o RESULTS.md     render again after the renderer has changed

Exit codes: 0 done, 1 the file or record is not right, 2 wrong arguments.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	var f flags
	left := -1
	parser := kong.Must(&f, kong.Name("report"), kong.Description(description), kong.Writers(out, errOut),
		kong.Vars{"version": version.String()}, kong.Exit(func(code int) { left = code }))
	_, err := parser.Parse(args)
	if left >= 0 {
		return left
	}
	if err == nil && f.Check && f.Output != "" {
		err = errors.New("--check writes nothing: leave -o out")
	}
	if err != nil {
		fmt.Fprintf(errOut, "report: %v (report --help shows examples)\n", err)
		return 2
	}
	if err := f.do(ctx, out); err != nil {
		fmt.Fprintf(errOut, "report: %v\n", err)
		return 1
	}
	return 0
}

func (f *flags) do(ctx context.Context, out io.Writer) error {
	if f.Check {
		content, err := os.ReadFile(f.Input)
		if err != nil {
			return err
		}
		if err := render.Check(content); err != nil {
			return fmt.Errorf("%s: %w", f.Input, err)
		}
		return nil
	}
	doc, err := read(f.Input)
	if err != nil {
		return err
	}
	switch {
	case f.Headline:
		for _, line := range append(render.Ending(doc.Results), "files      "+f.Input) {
			fmt.Fprintln(out, line)
		}
		return nil
	case f.JSON:
		e := json.NewEncoder(out)
		e.SetIndent("", " ")
		return e.Encode(doc.Results)
	}
	previous, err := f.previous(doc)
	if err != nil {
		return err
	}
	page, err := f.page(ctx, &render.Document{Results: doc.Results, Previous: previous})
	if err != nil {
		return err
	}
	if f.Output == "" {
		_, err := out.Write(page)
		return err
	}
	return replace(f.Output, page)
}

// page renders the form that was asked for. A RESULTS.md that does not say what its raw data says is no source for another form.
func (f *flags) page(ctx context.Context, doc *render.Document) ([]byte, error) {
	if !f.HTML {
		return render.File(doc.Results, doc.Previous)
	}
	if !strings.HasSuffix(f.Input, ".md") {
		return html.Make(ctx, doc, f.Input, "")
	}
	content, err := os.ReadFile(f.Input)
	if err != nil {
		return nil, err
	}
	if err := render.Check(content); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Input, err)
	}
	return html.Make(ctx, doc, f.Input, f.Input)
}

// read takes a record as bench wrote it, or out of a rendered page.
func read(name string) (*render.Document, error) {
	if !strings.HasSuffix(name, ".md") {
		r, err := record.Read(name)
		if err != nil {
			return nil, fmt.Errorf("%w (want results.json of bin/bench, its folder, or a RESULTS.md)", err)
		}
		return &render.Document{Results: r}, nil
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	doc, err := render.Extract(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return doc, nil
}

// previous finds what to compare with. A page of the same commit is no earlier commit: what it was compared with is.
func (f *flags) previous(doc *render.Document) (*render.Previous, error) {
	name := f.Previous
	switch {
	case name == "none":
		return nil, nil
	case name == "" && doc.Previous != nil:
		return doc.Previous, nil
	case name == "" && strings.HasSuffix(f.Output, ".md"):
		name = f.Output
	case name == "":
		return nil, nil
	}
	old, err := read(name)
	if f.Previous == "" && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("comparing with %s: %w; --previous none renders without a comparison", name, err)
	}
	if old.Results.Commit == doc.Results.Commit {
		return old.Previous, nil
	}
	return render.Remember(old.Results), nil
}

// replace writes through a temporary file in the same folder, so that nobody sees half a page.
func replace(name string, content []byte) error {
	tmp := filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+"."+strconv.Itoa(os.Getpid()))
	if err := os.WriteFile(tmp, content, 0o644); err != nil {
		return err
	}
	if err := os.Rename(tmp, name); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}
