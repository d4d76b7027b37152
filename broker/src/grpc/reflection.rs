//! `grpc.reflection.v1.ServerReflection`: our own .proto files, for tools such as grpcurl.

use super::call::Call;
use super::status::{Code, Status};
use bytes::Bytes;
use millrace_proto::grpc::DESCRIPTOR_SET;
use millrace_proto::grpc::grpc::reflection::v1::server_reflection_request::MessageRequest;
use millrace_proto::grpc::grpc::reflection::v1::server_reflection_response::MessageResponse;
use millrace_proto::grpc::grpc::reflection::v1::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
    ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
};
use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use std::collections::{HashMap, HashSet};

/// An index of the files.
pub(super) struct Reflection {
    files: Vec<File>,
    by_name: HashMap<String, usize>,
    /// Every fully qualified name and the file that declares it.
    by_symbol: HashMap<String, usize>,
    messages: HashSet<String>,
    services: Vec<String>,
}

struct File {
    encoded: Bytes,
    imports: Vec<String>,
}

impl Reflection {
    pub(super) fn new() -> Self {
        let mut this = Self {
            files: Vec::new(),
            by_name: HashMap::new(),
            by_symbol: HashMap::new(),
            messages: HashSet::new(),
            services: Vec::new(),
        };
        // Made by the build of `proto`, and a test decodes it.
        let set = FileDescriptorSet::decode(DESCRIPTOR_SET).unwrap_or_default();
        set.file.into_iter().for_each(|file| this.add(&file));
        this
    }

    /// The full names of all services, ours and the standard ones.
    pub(super) fn services(&self) -> Vec<String> {
        self.services.clone()
    }

    fn add(&mut self, file: &FileDescriptorProto) {
        let index = self.files.len();
        let package = file.package();
        for service in &file.service {
            let name = join(package, service.name());
            for method in &service.method {
                self.by_symbol.insert(join(&name, method.name()), index);
            }
            self.services.push(name.clone());
            self.by_symbol.insert(name, index);
        }
        file.message_type.iter().for_each(|message| self.add_message(package, message, index));
        file.enum_type.iter().for_each(|declared| self.add_enum(package, declared, index));
        self.by_name.insert(file.name().to_owned(), index);
        self.files.push(File { encoded: file.encode_to_vec().into(), imports: file.dependency.clone() });
    }

    fn add_message(&mut self, scope: &str, message: &DescriptorProto, file: usize) {
        let name = join(scope, message.name());
        message.nested_type.iter().for_each(|nested| self.add_message(&name, nested, file));
        message.enum_type.iter().for_each(|declared| self.add_enum(&name, declared, file));
        for field in &message.field {
            self.by_symbol.insert(join(&name, field.name()), file);
        }
        for oneof in &message.oneof_decl {
            self.by_symbol.insert(join(&name, oneof.name()), file);
        }
        self.messages.insert(name.clone());
        self.by_symbol.insert(name, file);
    }

    fn add_enum(&mut self, scope: &str, declared: &EnumDescriptorProto, file: usize) {
        for value in &declared.value {
            // Values are siblings of their enum, as in C++.
            self.by_symbol.insert(join(scope, value.name()), file);
        }
        self.by_symbol.insert(join(scope, declared.name()), file);
    }

    pub(super) async fn serve(&self, mut call: Call) -> Result<(), Status> {
        while let Some(request) = call.requests.recv::<ServerReflectionRequest>().await? {
            let response = self.answer(request);
            call.responses.send(&response).await?;
        }
        Ok(())
    }

    fn answer(&self, request: ServerReflectionRequest) -> ServerReflectionResponse {
        let answer = match &request.message_request {
            Some(MessageRequest::FileByFilename(name)) => self.file(self.by_name.get(name), "file", name),
            Some(MessageRequest::FileContainingSymbol(name)) => {
                self.file(self.by_symbol.get(name.trim_start_matches('.')), "symbol", name)
            }
            Some(MessageRequest::FileContainingExtension(extension)) => Err(not_found(format!(
                "there is no extension {} of {:?}: these files have none",
                extension.extension_number, extension.containing_type
            ))),
            Some(MessageRequest::AllExtensionNumbersOfType(name)) => self.extensions(name),
            Some(MessageRequest::ListServices(_)) => Ok(self.list()),
            None => Err((Code::InvalidArgument, "the request asks nothing".to_owned())),
        };
        let answer = answer.unwrap_or_else(|(code, error_message)| {
            MessageResponse::ErrorResponse(ErrorResponse { error_code: code as i32, error_message })
        });
        ServerReflectionResponse {
            valid_host: request.host.clone(),
            original_request: Some(request),
            message_response: Some(answer),
        }
    }

    fn list(&self) -> MessageResponse {
        let service = self.services.iter().map(|name| ServiceResponse { name: name.clone() }).collect();
        MessageResponse::ListServicesResponse(ListServiceResponse { service })
    }

    fn extensions(&self, name: &str) -> Result<MessageResponse, (Code, String)> {
        if !self.messages.contains(name) {
            return Err(not_found(format!("there is no message {name:?}")));
        }
        let base_type_name = name.to_owned();
        Ok(MessageResponse::AllExtensionNumbersResponse(ExtensionNumberResponse {
            base_type_name,
            extension_number: Vec::new(),
        }))
    }

    /// The file and everything it imports, itself first.
    fn file(&self, start: Option<&usize>, what: &str, name: &str) -> Result<MessageResponse, (Code, String)> {
        let start = *start.ok_or_else(|| not_found(format!("there is no {what} {name:?}")))?;
        let mut found = vec![start];
        let mut next = 0;
        while let Some(file) = found.get(next).and_then(|index| self.files.get(*index)) {
            for import in file.imports.iter().filter_map(|name| self.by_name.get(name)) {
                if !found.contains(import) {
                    found.push(*import);
                }
            }
            next += 1;
        }
        let file_descriptor_proto =
            found.into_iter().map(|index| self.files[index].encoded.clone()).collect();
        Ok(MessageResponse::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto }))
    }
}

fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

fn not_found(message: String) -> (Code, String) {
    (Code::NotFound, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(question: MessageRequest) -> MessageResponse {
        let request = ServerReflectionRequest { host: "h".into(), message_request: Some(question) };
        let answer = Reflection::new().answer(request.clone());
        assert_eq!((answer.valid_host.as_str(), &answer.original_request), ("h", &Some(request)));
        answer.message_response.expect("always answered")
    }

    #[test]
    fn lists_every_service() {
        let MessageResponse::ListServicesResponse(list) = ask(MessageRequest::ListServices(String::new()))
        else {
            panic!("not a list")
        };
        let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
        names.sort();
        assert_eq!(
            names,
            [
                "grpc.health.v1.Health",
                "grpc.reflection.v1.ServerReflection",
                "millrace.v1.Cluster",
                "millrace.v1.Groups",
                "millrace.v1.Log",
                "millrace.v1.Topics"
            ]
        );
    }

    #[test]
    fn finds_files_with_their_imports() {
        let symbols =
            ["millrace.v1.Log", "millrace.v1.Log.Produce", "millrace.v1.Record", "millrace.v1.Record.key"];
        for symbol in symbols {
            let MessageResponse::FileDescriptorResponse(files) =
                ask(MessageRequest::FileContainingSymbol(symbol.into()))
            else {
                panic!("{symbol} not found")
            };
            let names: Vec<_> = files
                .file_descriptor_proto
                .iter()
                .map(|file| FileDescriptorProto::decode(&file[..]).expect("a file").name().to_owned())
                .collect();
            let expected =
                ["millrace/v1/log.proto", "millrace/v1/partitions.proto", "millrace/v1/record.proto"];
            assert_eq!(names, expected);
        }
        let by_name = ask(MessageRequest::FileByFilename("google/rpc/status.proto".into()));
        let MessageResponse::FileDescriptorResponse(files) = by_name else { panic!("not found") };
        assert_eq!(files.file_descriptor_proto.len(), 2, "google.protobuf.Any comes with it");
    }

    #[test]
    fn unanswerable_questions_get_errors() {
        let code = |question| match ask(question) {
            MessageResponse::ErrorResponse(error) => error.error_code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(MessageRequest::FileContainingSymbol("nobody.knows".into())), 5);
        assert_eq!(code(MessageRequest::FileByFilename("nothing.proto".into())), 5);
        assert_eq!(code(MessageRequest::FileContainingExtension(Default::default())), 5);
        assert_eq!(code(MessageRequest::AllExtensionNumbersOfType("nobody.knows".into())), 5);
        let MessageResponse::AllExtensionNumbersResponse(numbers) =
            ask(MessageRequest::AllExtensionNumbersOfType("millrace.v1.Record".into()))
        else {
            panic!("not found")
        };
        assert!(numbers.extension_number.is_empty());
    }
}
