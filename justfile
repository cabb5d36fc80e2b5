# Names every script that is run by itself once; `just --list` prints this list. Without just, run the command
# below each name.

# Play the cases of all providers at a receiver on loopback
demo:
    cargo run -- demo

# Run every test; starts PostgreSQL and Redis itself
test *arguments:
    scripts/test {{arguments}}

# Run every check that a change must pass
ci:
    .ci/run

# Compile and lint the benchmarks, the fuzz targets and the inserter of mutants, which are outside the workspace
apart:
    scripts/apart

# Archive a static program for a release, with the licenses of its dependencies
archive *arguments:
    scripts/archive {{arguments}}

# Run a release build and the units of contrib/systemd in a Debian without Rust
bare-root *arguments:
    scripts/bare-root {{arguments}}

# Compare the performance with other crates
bench *arguments:
    scripts/bench {{arguments}}

# Check that docs/performance.md has the figures of docs/benchmarks.md
bench-docs *arguments:
    scripts/bench-docs {{arguments}}

# Build a book of the documentation
book *arguments:
    scripts/book {{arguments}}

# Test the operator's page in Chromium, or take its pictures again
browser *arguments:
    scripts/browser {{arguments}}

# Print the list of cases
cases:
    scripts/cases

# Run the two commands of the README in a Debian with only Rust and a C compiler
clean-room *arguments:
    scripts/clean-room {{arguments}}

# Count the instructions of `verify`, which must not depend on a secret
constant-time:
    scripts/constant-time

# Check the Dockerfile and the manifests of Kubernetes
containers:
    scripts/containers

# Compare instructions and allocations per delivery with a stored table
count *arguments:
    scripts/count {{arguments}}

# Check licenses, sources, bans and advisories of dependencies
deny *arguments:
    scripts/deny {{arguments}}

# Build the documentation of each crate as docs.rs does
docs-rs *crates:
    scripts/docs-rs {{crates}}

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

# Collect the license texts of the dependencies of the program
licenses *arguments:
    scripts/licenses {{arguments}}

# Check the minimum supported Rust versions
msrv:
    scripts/msrv

# Run mutation tests, or continue an interrupted run; takes hours
mutants *arguments:
    scripts/mutants {{arguments}}

# Find visible types of one crate that share a name
names *arguments:
    scripts/names {{arguments}}

# Add a made-up provider to a copy of this repository, and use it
new-provider *arguments:
    scripts/new-provider {{arguments}}

# Run the checks that take too long for .ci/run, or some of them
nightly *checks:
    scripts/nightly {{checks}}

# Package every published crate, and build each from its archive
package:
    scripts/package

# Run the commands of docs/production.md
production-drills *arguments:
    scripts/production-drills {{arguments}}

# Check the alerts, the dashboard and the metrics with promtool
prometheus:
    scripts/prometheus

# Check that each guarantee of SECURITY.md has a test, or make the mutations that the tests must find
promises *arguments:
    scripts/promises {{arguments}}

# Test nginx and Caddy in front of a receiver, with the configurations in contrib
proxies:
    scripts/proxies

# Compare the types in the public API with the allowed dependencies
public-types:
    scripts/public-types

# Check the conditions of a release and publish the crates; `just publish --dry-run` only checks
publish *arguments:
    scripts/publish {{arguments}}

# Kill, restart and rotate processes of `medhook receive` with an inbox; takes a while
receive-check *arguments:
    scripts/receive-check {{arguments}}

# Restart receivers under load, without a lost delivery
rolling-update *arguments:
    scripts/rolling-update {{arguments}}

# Write bills of materials of the published crates
sbom *arguments:
    scripts/sbom {{arguments}}

# Compare the public API with the last release
semver *arguments:
    scripts/semver {{arguments}}

# Measure a receiver with an inbox: events in a second, memory and disk
sizing *arguments:
    scripts/sizing {{arguments}}

# Run receivers on all stores for hours, with kills and outages
soak *arguments:
    scripts/soak {{arguments}}

# Build a static program, and run it in an empty root
static:
    scripts/static

# Check the units of contrib/systemd
systemd:
    scripts/systemd

# Check the spelling
typos *files:
    scripts/typos {{files}}

# Check the language of comments, documentation and messages
words *arguments:
    scripts/words {{arguments}}

# Check the workflows of GitHub
workflows:
    scripts/workflows
