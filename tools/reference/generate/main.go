// Command generate writes profiles/README.md. It is kept in the repository, because people read it there; a test fails when it is not what the
// structs say.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"

	"ackline/tools/reference"
	"ackline/tools/version"
)

type flags struct {
	Root    string           `arg:"" help:"The root of the tree." placeholder:"DIR"`
	Version kong.VersionFlag `help:"Print the version and leave."`
}

const description = `Writes profiles/README.md, the list of everything that can be set.

  go run ./tools/reference/generate .

Exit codes: 0 done, 1 a file could not be read or written, 2 wrong arguments.`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errOut io.Writer) int {
	var f flags
	left := -1
	parser := kong.Must(&f, kong.Name("generate"), kong.Description(description), kong.Writers(out, errOut),
		kong.Vars{"version": version.String()}, kong.Exit(func(code int) { left = code }))
	_, err := parser.Parse(args)
	if left >= 0 {
		return left
	}
	if err != nil {
		fmt.Fprintf(errOut, "generate: %v (generate --help shows an example)\n", err)
		return 2
	}
	sections, err := reference.Sections(f.Root)
	if err == nil {
		err = os.WriteFile(filepath.Join(f.Root, reference.File), reference.Page(sections), 0o644)
	}
	if err != nil {
		fmt.Fprintf(errOut, "generate: %v\n", err)
		return 1
	}
	return 0
}
