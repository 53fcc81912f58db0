#!/bin/sh
# Installs HL7's FHIR validator from Maven Central into .tools/fhir-validator-VERSION of the project root, for the test
# of the FHIR export. Running it again changes nothing. It needs a JDK (17 or newer) and Maven. Without them, or when
# Maven cannot fetch it, the script says so and succeeds. The test then prints SKIPPED, or fails with CI=true.
set -eu
cd "$(dirname "$0")/.."
pom=evidence/tools/fhir-validator/pom.xml
version=$(sed -n 's:.*<hapi>\(.*\)</hapi>.*:\1:p' $pom)
target=$PWD/.tools/fhir-validator-$version

[ -d "$target" ] && exit
for program in javac mvn; do
    command -v $program >/dev/null || { echo "careplane: no FHIR validator, because there is no $program" >&2; exit 0; }
done
mkdir -p .tools
scratch=$(mktemp -d "$PWD/.tools/.fhir-validator-$version.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
echo "installing HL7's FHIR validator, with HAPI FHIR $version, from Maven Central into .tools" >&2
# A repository of its own: nothing is left in the home folder.
mvn --quiet --batch-mode --file $pom -Dmaven.repo.local="$scratch/repository" \
    dependency:copy-dependencies -DoutputDirectory="$scratch/jars" >&2 || {
    echo "careplane: Maven could not fetch ca.uhn.hapi.fhir:hapi-fhir-validation:$version" >&2
    exit 0
}
# Another run may have finished first; then its result stands.
[ -d "$target" ] || mv "$scratch/jars" "$target"
