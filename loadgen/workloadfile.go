package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/pelletier/go-toml/v2"

	"ackline/loadgen/workload"
	"ackline/profiles/strict"
)

// workloadFile is a flag whose value is a file that gives other flags their values, unless they are on the command line.
type workloadFile string

// workloadKeys is what such a file holds.
type workloadKeys struct {
	workload.Config
	Partitions int32 `toml:"partitions"`
}

// BeforeResolve reads the file; kong calls it when the flag was given.
func (workloadFile) BeforeResolve(ctx *kong.Context, trace *kong.Path) error {
	file := string(ctx.FlagValue(trace.Flag).(workloadFile))
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("workload-file: %w", err)
	}
	if err := strict.Decode(file, "workload", text, new(workloadKeys)); err != nil {
		return err
	}
	var given map[string]any
	if err := toml.Unmarshal(text, &given); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	ctx.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		v, ok := given[strings.ReplaceAll(flag.Name, "-", "_")]
		if !ok {
			return nil, nil
		}
		return fmt.Sprint(v), nil
	}))
	return nil
}
