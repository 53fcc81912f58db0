import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.validation.SingleValidationMessage;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;

/**
 * Validates FHIR R4 resources with HL7's validator, without the network.
 *
 * <p>Arguments: files of one JSON resource a line. For each resource it prints one line per message (severity, path, id
 * of the message, text, separated by tabs) and then one line {@code done}, the file and the number of the line.
 */
class Validate {
    public static void main(String[] files) throws IOException {
        // The texts of messages are translated.
        Locale.setDefault(Locale.ENGLISH);
        FhirContext context = FhirContext.forR4();
        IValidationSupport definitions = new ValidationSupportChain(
                new DefaultProfileValidationSupport(context),
                new CommonCodeSystemsTerminologyService(context),
                new InMemoryTerminologyServerValidationSupport(context));
        var validator = context.newValidator().registerValidatorModule(new FhirInstanceValidator(definitions));
        for (String file : files) {
            try (BufferedReader lines = Files.newBufferedReader(Path.of(file))) {
                int number = 0;
                for (String line; (line = lines.readLine()) != null; ) {
                    number++;
                    for (SingleValidationMessage message : validator.validateWithResult(line).getMessages()) {
                        print(
                                message.getSeverity().getCode(),
                                message.getLocationString(),
                                message.getMessageId(),
                                message.getMessage());
                    }
                    print("done", file, String.valueOf(number));
                }
            }
        }
    }

    private static void print(String... fields) {
        for (int i = 0; i < fields.length; i++) {
            fields[i] = String.valueOf(fields[i]).replaceAll("\\s+", " ");
        }
        System.out.println(String.join("\t", fields));
    }
}
