# Names every script once; `just --list` prints this list. Without just, run the command below each name.

# Play the cases of all providers at a receiver on loopback
demo:
    cargo run -- demo

# Run every test; starts PostgreSQL and Redis itself
test *arguments:
    scripts/test {{arguments}}

# Run every check that a change must pass
ci:
    .ci/run

# Compile and lint the benchmarks and fuzz targets, which are outside the workspace
apart:
    scripts/apart

# Compare the performance with other crates
bench *arguments:
    scripts/bench {{arguments}}

# Test the operator's page in Chromium, or take its pictures again
browser *arguments:
    scripts/browser {{arguments}}

# Print the list of cases
cases:
    scripts/cases

# Count the instructions of `verify`, which must not depend on a secret
constant-time:
    scripts/constant-time

# Compare instructions and allocations per delivery with a stored table
count *arguments:
    scripts/count {{arguments}}

# Check licenses, sources, bans and advisories of dependencies
deny *arguments:
    scripts/deny {{arguments}}

# Test `receive` and `send` against SDKs and clients of others
foreign-signers *arguments:
    scripts/foreign-signers {{arguments}}

# Fuzz every property, or one
fuzz *arguments:
    scripts/fuzz {{arguments}}

# Kill, stop and cut off receivers and workers with an inbox; takes most of an hour
inbox-check *arguments:
    scripts/inbox-check {{arguments}}

# Find import cycles between source files
layers *arguments:
    scripts/layers {{arguments}}

# Check the minimum supported Rust versions
msrv:
    scripts/msrv

# Run mutation tests; takes hours
mutants *files:
    scripts/mutants {{files}}

# Find visible types of one crate that share a name
names *arguments:
    scripts/names {{arguments}}

# Add a made-up provider to a copy of this repository, and use it
new-provider *arguments:
    scripts/new-provider {{arguments}}

# Package every published crate, and build each from its archive
package:
    scripts/package

# Check the conditions of a release and publish the crates; `just publish --dry-run` only checks
publish *arguments:
    scripts/publish {{arguments}}

# Archive a static program for a release, with the licenses of its dependencies
archive *arguments:
    scripts/archive {{arguments}}

# Build a book of the documentation
book *arguments:
    scripts/book {{arguments}}

# Build the documentation of each crate as docs.rs does
docs-rs *crates:
    scripts/docs-rs {{crates}}

# Write bills of materials of the published crates
sbom *arguments:
    scripts/sbom {{arguments}}

# Compare the public API with the last release
semver *arguments:
    scripts/semver {{arguments}}

# Check the workflows of GitHub
workflows:
    scripts/workflows

# Check the alerts, the dashboard and the metrics with promtool
prometheus:
    scripts/prometheus

# Check that each guarantee of SECURITY.md has a test, or make the mutations that the tests must find
promises *arguments:
    scripts/promises {{arguments}}

# Compare the types in the public API with the allowed dependencies
public-types:
    scripts/public-types

# Kill, restart and rotate processes of `medhook receive` with an inbox; takes a while
receive-check *arguments:
    scripts/receive-check {{arguments}}
