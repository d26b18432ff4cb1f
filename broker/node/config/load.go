package config

import (
	"fmt"
	"os"

	"ackline/profiles/strict"
)

// Load reads a TOML file over the defaults. Unknown keys are errors that name file, line and the nearest key.
func Load(path string) (Config, error) {
	c := Default()
	text, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("--config: %w", err)
	}
	return c, strict.Decode(path, "broker configuration", text, &c)
}
