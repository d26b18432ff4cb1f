// Command generate writes the files that Grafana and Prometheus read. They are kept in the repository, because who
// loads a dashboard has no Go; a test fails when they are not what the tables say.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"

	"ackline/dashboards"
	"ackline/tools/version"
)

type flags struct {
	Dir     string           `arg:"" help:"The folder to write to." placeholder:"DIR"`
	Version kong.VersionFlag `help:"Print the version and leave."`
}

const description = `Writes Grafana's dashboards (*.json) and Prometheus's prometheus.yml, rules.yml and alerts.yml.

  go run ./dashboards/generate dashboards

Exit codes: 0 done, 1 a file could not be written, 2 wrong arguments.`

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

func run(_ context.Context, args []string, out, errOut io.Writer) int {
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
	files, err := dashboards.Files()
	for _, file := range files {
		if err == nil {
			err = os.WriteFile(filepath.Join(f.Dir, file.Name), file.Content, 0o644)
		}
	}
	if err != nil {
		fmt.Fprintf(errOut, "generate: %v\n", err)
		return 1
	}
	return 0
}
